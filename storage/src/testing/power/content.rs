//! The bytes of a file, in pieces that its copies share.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, LazyLock},
};

const PIECE: usize = 64 << 10;
static ZEROS: LazyLock<Arc<Vec<u8>>> = LazyLock::new(|| Arc::new(vec![0; PIECE]));

/// Pieces of one length; behind the end of the file they have zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    pieces: Vec<Arc<Vec<u8>>>,
    length: u64,
}

impl Content {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let (mut file, mut content) = (File::open(path)?, Self::default());
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = Read::by_ref(&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
            if read == 0 {
                return Ok(content);
            }
            content.length += read as u64;
            piece.resize(PIECE, 0);
            content.pieces.push(if piece == **ZEROS { Arc::clone(&ZEROS) } else { Arc::new(piece) });
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn bytes(&self, from: u64, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let (piece, within) = place(from + bytes.len() as u64);
            let until = PIECE.min(within + count - bytes.len());
            bytes.extend_from_slice(&self.piece(piece)[within..until]);
        }
        bytes
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut written = 0;
        while written < bytes.len() {
            let (piece, within) = place(at + written as u64);
            let count = (PIECE - within).min(bytes.len() - written);
            if self.pieces.len() <= piece {
                self.pieces.resize_with(piece + 1, || Arc::clone(&ZEROS));
            }
            Arc::make_mut(&mut self.pieces[piece])[within..within + count]
                .copy_from_slice(&bytes[written..written + count]);
            written += count;
        }
        self.length = self.length.max(at + bytes.len() as u64);
    }

    pub(super) fn set_length(&mut self, length: u64) {
        let (piece, within) = place(length);
        self.pieces.truncate(piece + 1);
        if let Some(last) = self.pieces.get_mut(piece) {
            Arc::make_mut(last)[within..].fill(0);
        }
        self.length = length;
    }

    /// The numbers of the blocks that are not the same in both.
    pub(super) fn differing(&self, other: &Self, block: usize) -> Vec<usize> {
        let mut differing = Vec::new();
        for number in 0..self.pieces.len().max(other.pieces.len()) {
            let (one, two) = (self.piece(number), other.piece(number));
            if Arc::ptr_eq(one, two) || one == two {
                continue;
            }
            let blocks = one.chunks(block).zip(two.chunks(block)).enumerate();
            differing.extend(blocks.filter(|(_, (one, two))| one != two).map(|(at, _)| number * PIECE / block + at));
        }
        differing
    }

    pub(super) fn take_block(&mut self, from: &Self, number: usize, block: usize) {
        let length = self.length;
        self.write((number * block) as u64, &from.bytes((number * block) as u64, block));
        self.length = length;
    }

    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let file = File::create(path)?;
        for (number, piece) in self.pieces.iter().enumerate() {
            if **piece != **ZEROS {
                file.write_all_at(piece, (number * PIECE) as u64)?;
            }
        }
        file.set_len(self.length)
    }

    fn piece(&self, number: usize) -> &Arc<Vec<u8>> {
        self.pieces.get(number).unwrap_or(&ZEROS)
    }
}

fn place(at: u64) -> (usize, usize) {
    ((at / PIECE as u64) as usize, (at % PIECE as u64) as usize)
}
